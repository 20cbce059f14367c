//! Texts: what a program says, and what the library's errors say of it.

use std::error::Error;

use crate::fake::Fake;

pub(crate) const UNREACHABLE: &str = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
pub(crate) const PERMISSION: &str = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get \"http://%2Fvar%2Frun%2Fdocker.sock/v1.48/info\": dial unix /var/run/docker.sock: connect: permission denied";
pub(crate) const OVERLAP: &str = "Error response from daemon: invalid pool request: Pool overlaps with other one on this address space";
pub(crate) const NO_CONTAINER: &str = "Error response from daemon: No such container: x";
pub(crate) const UNKNOWN: &str = "Error response from daemon: the moon is full";

impl Fake {
    /// The error's text and those of its sources, see [`Self::text`].
    pub(crate) fn chain(&self, error: &dyn Error) -> Vec<String> {
        let chain = std::iter::successors(Some(error), |&error| error.source());
        chain.map(|error| self.text(error)).collect()
    }

    /// The text as it were if the program was `docker`, nothing steered it, and time had no digits.
    pub(crate) fn text(&self, error: &dyn Error) -> String {
        let mut text = error.to_string().replace(self.path("docker").to_str().unwrap(), "docker");
        for (from, to, with) in [
            ("docker --host ", " ", "docker "),
            ("docker --context ", " ", "docker "),
            ("deadline, after ", "s", "deadline"),
            (" since ", "Z", " since then"),
        ] {
            text = replace_between(&text, from, to, with);
        }
        text
    }
}

fn replace_between(text: &str, from: &str, to: &str, with: &str) -> String {
    let Some((before, rest)) = text.split_once(from) else { return text.to_owned() };
    let (_, after) = rest.split_once(to).unwrap();
    format!("{before}{with}{}", replace_between(after, from, to, with))
}

/// A snippet that prints this to standard error and ends with the code.
pub(crate) fn refuse(code: i32, text: &str) -> String {
    format!("cat >&2 <<'END'\n{text}\nEND\nexit {code}\n")
}
