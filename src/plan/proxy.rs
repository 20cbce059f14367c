//! The variables that send a guest's HTTP traffic through a proxy in the bundle.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::NetworkPlanned;

impl NetworkPlanned {
    /// The variables for a guest whose HTTP proxy listens on a port of the bundle's address.
    ///
    /// They are `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY`, all `http://<bundle ip>:<port>`, and `NO_PROXY`. Each is
    /// also set in lower case: programs differ in the case that they read, and curl ignores `HTTP_PROXY`. `ALL_PROXY`
    /// is for programs that read it for other protocols, such as WebSocket or FTP: a guest with one allowed address has
    /// no other way out.
    ///
    /// `NO_PROXY` lists the bundle's addresses, `localhost`, `127.0.0.1`, `::1` and the network's subnets. Go reads
    /// subnets there, and so does curl from 7.86 on; other programs ignore them. Node.js reads none of the variables
    /// unless `NODE_USE_ENV_PROXY` is `1`, from 24.0 on.
    ///
    /// ```
    /// use sidecar_bundle::{NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let mut guest = std::process::Command::new("guest");
    /// for (name, value) in plan.proxy_variables(8080) {
    ///     guest.env(name, value);
    /// }
    /// let set: Vec<_> = guest.get_envs().collect();
    /// let proxy = Some("http://10.56.132.2:8080".as_ref());
    /// assert!(set.contains(&("HTTPS_PROXY".as_ref(), proxy)));
    /// let direct = Some("10.56.132.2,localhost,127.0.0.1,::1,10.56.132.0/24".as_ref());
    /// assert!(set.contains(&("no_proxy".as_ref(), direct)));
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    #[must_use]
    pub fn proxy_variables(&self, port: u16) -> Vec<(&'static str, String)> {
        self.proxy_variables_at((self.ip(), port))
    }

    /// The same variables for a proxy that the guest reaches at another address, such as a port that is published on
    /// [`loopback`](Self::loopback). `NO_PROXY` then lists that address, too.
    ///
    /// ```
    /// use sidecar_bundle::{NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let variables = plan.proxy_variables_at((plan.loopback(), 8080));
    /// assert!(variables.contains(&("https_proxy", "http://127.27.92.187:8080".to_owned())));
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    #[must_use]
    pub fn proxy_variables_at(&self, proxy: impl Into<SocketAddr>) -> Vec<(&'static str, String)> {
        let proxy = proxy.into();
        let url = format!("http://{proxy}");
        let mut direct = vec![
            proxy.ip().to_string(),
            self.ip().to_string(),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
            self.subnet().to_string(),
        ];
        if let Some(ipv6) = self.ipv6() {
            direct.extend([ipv6.bundle_ip().to_string(), ipv6.subnet().to_string()]);
        }
        let mut listed = BTreeSet::new();
        direct.retain(|it| listed.insert(it.clone()));
        let direct = direct.join(",");
        vec![
            ("HTTP_PROXY", url.clone()),
            ("http_proxy", url.clone()),
            ("HTTPS_PROXY", url.clone()),
            ("https_proxy", url.clone()),
            ("ALL_PROXY", url.clone()),
            ("all_proxy", url),
            ("NO_PROXY", direct.clone()),
            ("no_proxy", direct),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Ipv6Addressing, Slug};

    fn plan() -> NetworkPlanned {
        NetworkPlanned::new(Slug::new("demo").unwrap())
    }

    #[test]
    fn each_variable_is_there_in_both_cases() {
        let variables = plan().proxy_variables(8080);
        let proxy = "http://10.56.132.2:8080";
        let direct = "10.56.132.2,localhost,127.0.0.1,::1,10.56.132.0/24";
        let expected = [
            ("HTTP_PROXY", proxy),
            ("HTTPS_PROXY", proxy),
            ("ALL_PROXY", proxy),
            ("NO_PROXY", direct),
        ];
        assert_eq!(variables.len(), 2 * expected.len());
        for (name, value) in expected {
            for name in [name.to_owned(), name.to_lowercase()] {
                let found: Vec<_> = variables.iter().filter(|it| it.0 == name).collect();
                assert!(matches!(found[..], [(_, it)] if it == value), "{name}: {found:?}");
            }
        }
    }

    #[test]
    fn every_address_of_the_plan_is_reached_directly_and_listed_once() {
        let subnet = "fd00::/64".parse().unwrap();
        let [gateway, bundle] = ["fd00::1", "fd00::2"].map(|it| it.parse().unwrap());
        let ipv6 = Ipv6Addressing::new(subnet, gateway, bundle).unwrap();
        let plan = plan().with_ipv6_addressing(ipv6);
        let listed = "localhost,127.0.0.1,::1,10.56.132.0/24,fd00::2,fd00::/64";
        let without = "localhost,::1,10.56.132.0/24,fd00::2,fd00::/64";
        for (proxy, url, direct) in [
            ("10.56.132.2:1", "http://10.56.132.2:1", format!("10.56.132.2,{listed}")),
            ("127.9.8.7:80", "http://127.9.8.7:80", format!("127.9.8.7,10.56.132.2,{listed}")),
            ("127.0.0.1:2", "http://127.0.0.1:2", format!("127.0.0.1,10.56.132.2,{without}")),
            (
                "[fd00::2]:3",
                "http://[fd00::2]:3",
                "fd00::2,10.56.132.2,localhost,127.0.0.1,::1,10.56.132.0/24,fd00::/64".to_owned(),
            ),
        ] {
            let variables = plan.proxy_variables_at(proxy.parse::<SocketAddr>().unwrap());
            assert_eq!(variables[0].1, url);
            assert_eq!(variables[7].1, direct);
        }
    }
}
