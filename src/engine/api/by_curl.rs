//! A reaper for hosts that have an engine's socket and not its program.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::engine::backend::ReaperSpec;
use crate::engine::cli::on_path;

/// The variable of the reaper's environment that has the script: its arguments have one line each.
const SCRIPT: &str = "SIDECAR_BUNDLE_BY_CURL";

/// The commands of docker's that a reaper needs, by `curl`.
pub(super) struct ByCurl {
    shell: PathBuf,
    socket: String,
}

impl ByCurl {
    /// `None` where there is no `curl`, or no shell.
    pub(super) fn to(socket: &Path) -> Option<Self> {
        on_path(OsStr::new("curl"))?;
        Some(Self { shell: on_path(OsStr::new("sh"))?, socket: socket.to_str()?.to_owned() })
    }

    /// The same commands, each as the arguments of a shell.
    pub(super) fn replace(self, spec: ReaperSpec) -> ReaperSpec {
        let begin = format!("eval \"${SCRIPT}\"");
        let words = |words: Vec<String>| {
            let shell = ["-c", &begin, "docker", &self.socket].map(str::to_owned);
            shell.into_iter().chain(words).collect()
        };
        let mut env = spec.env;
        env.push((SCRIPT.into(), include_str!("by-curl.sh").into()));
        ReaperSpec {
            program: self.shell.clone().into_os_string(),
            env,
            identify: words(spec.identify),
            identity: spec.identity,
            list_containers: words(spec.list_containers),
            remove_container: words(spec.remove_container),
            list_networks: words(spec.list_networks),
            remove_network: words(spec.remove_network),
            list_attached: spec.list_attached,
        }
    }
}
