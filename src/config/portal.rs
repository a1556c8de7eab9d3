//! `[portal]`: the page for whoever is confined.

use std::net::SocketAddr;

use ipnet::IpNet;
use url::Url;

use super::reader::Section;
use super::values::{address_with_port, network};

/// Where HTTP is, and where `agent.portal` is unless it says otherwise.
const PORT: u16 = 80;

/// The portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portal {
    /// TCP addresses.
    pub listen: Vec<SocketAddr>,
    /// Its address for browsers; `None` is the address that was listened on.
    pub url: Option<Url>,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
}

pub(super) fn portal(mut section: Section<'_>) -> Option<Portal> {
    if !section.has("listen") {
        section.problem("listen", "is missing; say where the portal listens, as 192.0.2.80:80");
    }
    let listen = section.list("listen", "an address with port", |text| address_with_port(text, PORT));
    if listen.as_ref().is_some_and(Vec::is_empty) {
        section.problem("listen", "lists no address; leave the section out for no portal");
    }
    let has_url = section.has("url");
    let url = section.parsed("url", "an http or https URL of a host alone", |text| {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        match url.scheme() {
            "http" | "https" if url.has_host() && bare && url.password().is_none() => Ok(url),
            "http" | "https" => Err("it has more than a host and a port".to_owned()),
            _ => Err("another scheme".to_owned()),
        }
    });
    let trusted_proxies = section.list("trusted_proxies", "an address or network", network).unwrap_or_default();
    if !trusted_proxies.is_empty() && !has_url {
        section.problem("url", "is missing; behind a proxy the portal cannot know by which name it is reached");
    }
    section.finish();
    Some(Portal { listen: listen?, url, trusted_proxies })
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Flags, Setting, Surroundings};
    use super::*;

    fn load(settings: &[(&str, &str)]) -> Result<Option<Portal>, String> {
        let settings = settings.iter().map(|(key, value)| Setting::new("--set", *key, *value)).collect();
        let loaded = Config::load_in(&Flags { config: None, settings }, &Surroundings::default());
        loaded.map(|loaded| loaded.config.portal).map_err(|error| error.to_string())
    }

    #[test]
    fn there_is_no_portal_unless_it_is_configured() {
        assert_eq!(load(&[]), Ok(None));
        let portal = load(&[("portal.listen", "192.0.2.80,[2001:db8::80]:8080")]).unwrap().unwrap();
        let addresses = ["192.0.2.80:80", "[2001:db8::80]:8080"].map(|address| address.parse().unwrap());
        assert_eq!(portal, Portal { listen: addresses.into(), url: None, trusted_proxies: vec![] });
        let whole = [
            ("portal.listen", "127.0.0.1:8080"),
            ("portal.url", "https://portal.example"),
            ("portal.trusted_proxies", "127.0.0.1,10.1.0.0/16"),
        ];
        let portal = load(&whole).unwrap().unwrap();
        assert_eq!(portal.url.unwrap().as_str(), "https://portal.example/");
        assert_eq!(portal.trusted_proxies.len(), 2);
    }

    #[test]
    fn what_is_wrong_names_its_key() {
        for (settings, key) in [
            (&[("portal.url", "http://portal.example")][..], "portal.listen"),
            (&[("portal.listen", "portal.example:80")], "portal.listen"),
            (&[("portal.listen", "[]")], "portal.listen"),
            (&[("portal.listen", "192.0.2.80"), ("portal.url", "portal.example")], "portal.url"),
            (&[("portal.listen", "192.0.2.80"), ("portal.url", "http://portal.example/login")], "portal.url"),
            (&[("portal.listen", "192.0.2.80"), ("portal.trusted_proxies", "10.0.0.1")], "portal.url"),
            (&[("portal.listen", "192.0.2.80"), ("portal.trusted_proxies", "somebody")], "portal.trusted_proxies"),
        ] {
            let error = load(settings).unwrap_err();
            assert!(error.contains(key), "{settings:?}: {error}");
        }
    }
}
