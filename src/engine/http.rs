//! The settings of every HTTP client here.

use ureq::config::{Config, ConfigBuilder};
use ureq::typestate::AgentScope;

/// Any status is an answer, no redirect is followed, and no proxy is used.
pub(crate) fn config() -> ConfigBuilder<AgentScope> {
    Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("sidecar-bundle/", env!("CARGO_PKG_VERSION")))
}
