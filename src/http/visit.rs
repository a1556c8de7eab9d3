//! Whose request it is, and whether it came to the portal by the portal's own name. Pure.
//!
//! The sandbox turns every name into the portal's address, so a request's Host says nothing about where it went, and everything about
//! which pages may read the answer: those of the same name, whoever wrote them. So there is one name at which anything is shown.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Uri, header};
use ipnet::IpNet;
use url::{Origin, Url};

/// Where the portal lives.
#[derive(Debug, Clone)]
pub(super) struct Home {
    /// Its address for browsers; `None` is where the connection came to.
    pub(super) url: Option<Url>,
    /// Whose X-Forwarded-For is believed.
    pub(super) proxies: Vec<IpNet>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visit {
    /// Who asks.
    pub(super) address: IpAddr,
    /// Where the page is.
    pub(super) home: Url,
    /// Whether this came to the page's own name.
    pub(super) own: bool,
    /// That name, as a browser writes it in Origin.
    origin: Origin,
}

impl Home {
    /// What a request is: `peer` and `local` are the ends of its connection.
    pub(super) fn visit(&self, peer: IpAddr, local: Option<SocketAddr>, uri: &Uri, headers: &HeaderMap) -> Visit {
        let peer = peer.to_canonical();
        let is_proxy = |address: &IpAddr| self.proxies.iter().any(|proxy| proxy.contains(address));
        let proxied = is_proxy(&peer);
        let address = if proxied { forwarded(headers, is_proxy).unwrap_or(peer) } else { peer };
        let local = local.and_then(|local| Url::parse(&format!("http://{}/", canonical(local))).ok());
        // Behind a proxy the connection's own address is the proxy's business, and no name of ours.
        let names = [self.url.as_ref(), local.as_ref().filter(|_| !proxied)];
        let host = uri.authority().map(|authority| authority.as_str().to_owned());
        let host = host.or_else(|| Some(headers.get(header::HOST)?.to_str().ok()?.to_owned())).unwrap_or_default();
        let called = names.into_iter().flatten().find(|name| is_called(name, &host));
        let own = called.is_some();
        let home = self.url.as_ref().or(local.as_ref()).cloned().unwrap_or_else(nowhere);
        let origin = called.unwrap_or(&home).origin();
        Visit { address, home, own, origin }
    }
}

impl Visit {
    /// Whether a form may come with it: from a page of ours, as far as the browser says where it is from. Whoever says nothing of the kind
    /// must have read the form, which pages of others cannot.
    pub(super) fn may_post(&self, headers: &HeaderMap) -> bool {
        let says = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let one_origin = headers.get_all(header::ORIGIN).iter().count() <= 1;
        let origin = says("origin").is_none_or(|origin| origin == self.origin.ascii_serialization());
        let site = says("sec-fetch-site").is_none_or(|site| site == "same-origin");
        one_origin && origin && site
    }
}

/// Whether a Host is that of a URL: in any case, its port said or not.
fn is_called(url: &Url, host: &str) -> bool {
    // Nothing but a host and a port: what a URL would take for a path or a password is no Host.
    let plain = !host.is_empty() && !host.contains(['/', '@', '?', '#', '\\']);
    let called = Url::parse(&format!("{}://{host}/", url.scheme()));
    plain && called.is_ok_and(|called| called.origin() == url.origin())
}

/// The last address in X-Forwarded-For that is none of our proxies'. What stands before it anybody may have written.
fn forwarded(headers: &HeaderMap, is_proxy: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
    let listed: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    for text in listed.into_iter().rev() {
        // What is no address ends the chain: nobody says who was before.
        let address = read(text.trim())?.to_canonical();
        if !is_proxy(&address) {
            return Some(address);
        }
    }
    None
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn read(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// For a connection that is gone while it is looked at.
fn nowhere() -> Url {
    Url::parse("http://localhost/").expect("a constant")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "192.0.2.80:8080";

    fn home(url: Option<&str>, proxies: &[&str]) -> Home {
        let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        Home { url: url.map(|url| Url::parse(url).unwrap()), proxies }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn visit(home: &Home, peer: &str, lines: &[(&'static str, &str)]) -> Visit {
        home.visit(peer.parse().unwrap(), Some(LOCAL.parse().unwrap()), &Uri::from_static("/"), &headers(lines))
    }

    #[test]
    fn the_page_is_shown_at_its_own_name_alone() {
        let (by_address, by_name) = (home(None, &[]), home(Some("http://portal.example/"), &[]));
        for (host, address, name) in [
            ("192.0.2.80:8080", true, true),
            ("192.0.2.80", false, false),
            ("198.51.100.1", false, false),
            ("portal.example", false, true),
            ("PORTAL.example:80", false, true),
            ("portal.example:8080", false, false),
            ("portal.example.evil.example", false, false),
            ("evil@portal.example", false, false),
            ("portal.example/x", false, false),
            ("neverssl.com", false, false),
            ("", false, false),
        ] {
            let own = |home| visit(home, "10.0.0.7", &[("host", host)]).own;
            assert_eq!((own(&by_address), own(&by_name)), (address, name), "{host}");
        }
        assert_eq!(visit(&by_address, "10.0.0.7", &[("host", "x")]).home.as_str(), "http://192.0.2.80:8080/");
        assert_eq!(visit(&by_name, "10.0.0.7", &[("host", "x")]).home.as_str(), "http://portal.example/");
        assert!(!visit(&by_name, "10.0.0.7", &[]).own);
        // A proxy's request names the host before its path, and that one counts (RFC 9112 §3.2.2).
        let uri = Uri::from_static("http://neverssl.com/");
        let lines = headers(&[("host", LOCAL)]);
        assert!(!by_address.visit([10, 0, 0, 7].into(), Some(LOCAL.parse().unwrap()), &uri, &lines).own);
    }

    #[test]
    fn over_ipv6_the_address_stands_in_brackets() {
        let local = Some("[2001:db8::80]:80".parse().unwrap());
        let lines = headers(&[("host", "[2001:db8::80]")]);
        let seen = home(None, &[]).visit("2001:db8:1::7".parse().unwrap(), local, &Uri::from_static("/"), &lines);
        assert!(seen.own && seen.home.as_str() == "http://[2001:db8::80]/", "{seen:?}");
        // Of a socket for both, IPv4 comes as IPv6.
        let (peer, local) = ("::ffff:10.0.0.7".parse().unwrap(), Some("[::ffff:192.0.2.80]:8080".parse().unwrap()));
        let seen = home(None, &[]).visit(peer, local, &Uri::from_static("/"), &headers(&[("host", LOCAL)]));
        assert_eq!((seen.own, seen.address), (true, [10, 0, 0, 7].into()));
    }

    #[test]
    fn x_forwarded_for_counts_from_those_who_are_trusted() {
        let home = home(Some("https://portal.example/"), &["127.0.0.1/32", "10.1.0.0/16"]);
        for (peer, lines, expected) in [
            ("10.9.0.7", &["10.9.0.8"][..], "10.9.0.7"),
            ("127.0.0.1", &["10.9.0.8"], "10.9.0.8"),
            ("::ffff:127.0.0.1", &["10.9.0.8"], "10.9.0.8"),
            ("127.0.0.1", &["10.9.0.9, 10.9.0.8"], "10.9.0.8"),
            ("127.0.0.1", &["10.9.0.9", "10.9.0.8, 10.1.2.3"], "10.9.0.8"),
            ("127.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("127.0.0.1", &["10.9.0.8:4711"], "10.9.0.8"),
            ("127.0.0.1", &["10.9.0.8, unknown"], "127.0.0.1"),
            ("127.0.0.1", &[""], "127.0.0.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(visit(&home, peer, &lines).address.to_string(), expected, "{peer} {lines:?}");
        }
        let local = [("host", LOCAL)];
        assert!(!visit(&home, "127.0.0.1", &local).own, "the proxy's own connection is no name");
        assert!(visit(&home, "10.9.0.7", &local).own);
    }

    #[test]
    fn a_form_comes_from_a_page_of_ours() {
        let http = visit(&home(None, &[]), "10.0.0.7", &[("host", LOCAL)]);
        let https = visit(&home(Some("https://portal.example"), &[]), "10.0.0.7", &[("host", "portal.example")]);
        let origin = |visit: &Visit, origin| visit.may_post(&headers(&[("origin", origin)]));
        assert!(origin(&http, "http://192.0.2.80:8080") && origin(&https, "https://portal.example"));
        for foreign in ["http://evil.example", "null", "", "http://192.0.2.80", "https://192.0.2.80:8080"] {
            assert!(!origin(&http, foreign), "{foreign:?}");
        }
        assert!(!origin(&https, "http://portal.example"));
        let site = |site| http.may_post(&headers(&[("sec-fetch-site", site)]));
        assert!(site("same-origin") && !site("same-site") && !site("cross-site") && !site("none"));
        assert!(!http.may_post(&headers(&[("origin", "http://192.0.2.80:8080"), ("origin", "http://evil.example")])));
        assert!(http.may_post(&headers(&[])), "an old browser says nothing, and must have the form");
    }
}
