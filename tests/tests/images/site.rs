//! Hosts of the test's own: names under example.com that lead to the loopback, and one https server that is all of
//! them, with a certificate of a CA that only the test trusts.
//!
//! Pages are put up, taken down and changed while it runs, and what was asked for is kept in order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tests::http::{Asked, Reply, Server};
use tests::registry::certificate;
use tests::{Rkt, Scratch, isolated};

type Page = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// `/etc/hosts` of this mount namespace says that the names are the loopback; undone when dropped.
#[derive(Debug)]
pub struct Hosts(());

impl Hosts {
    pub fn new(scratch: &Scratch, names: &[&str]) -> Hosts {
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for name in names {
            text += &format!("127.0.0.1 {name}\n");
        }
        let file = scratch.write("hosts", text);
        rustix::mount::mount_bind(&file, "/etc/hosts").expect("a mount namespace of our own");
        Hosts(())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount("/etc/hosts", rustix::mount::UnmountFlags::DETACH);
    }
}

pub struct Site {
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    server: Server,
    ca: PathBuf,
    _hosts: Hosts,
}

impl Site {
    /// What is not installed.
    pub fn missing() -> Option<String> {
        isolated::find("openssl")
            .is_none()
            .then(|| "needs openssl (Debian: openssl)".to_owned())
    }

    /// https on port 443 of these hosts, without any page.
    pub fn new(scratch: &Scratch, names: &[&str]) -> Site {
        let dir = scratch.mkdir("site");
        let ca = certificate(&dir);
        let pages: Arc<Mutex<BTreeMap<String, Page>>> = Arc::default();
        let shown = pages.clone();
        let server = Server::tls(&dir, 443, move |asked| {
            let page = shown
                .lock()
                .expect("nobody panics with this lock")
                .get(&place(asked))
                .cloned();
            page.map_or_else(|| Reply::new(404), |page| page(asked))
        });
        Site {
            pages,
            server,
            ca,
            _hosts: Hosts::new(scratch, names),
        }
    }

    /// `host/path`, without a query.
    pub fn page(&self, place: &str, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        self.pages
            .lock()
            .expect("nobody panics with this lock")
            .insert(place.to_owned(), Arc::new(answer));
    }

    pub fn put(&self, place: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.page(place, move |_| Reply::ok(bytes.clone()));
    }

    pub fn remove(&self, place: &str) {
        self.pages
            .lock()
            .expect("nobody panics with this lock")
            .remove(place);
    }

    /// A page of discovery that says where the images of a prefix are.
    pub fn discovery(&self, place: &str, metas: &[(&str, &str)]) {
        let mut text = "<html><head>".to_owned();
        for (name, content) in metas {
            text += &format!("<meta name=\"{name}\" content=\"{content}\">\n");
        }
        self.put(place, text + "</head><body>a page for people</body></html>");
    }

    pub fn ca(&self) -> String {
        self.ca.display().to_string()
    }

    /// `host/path?query` of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.server
            .asked()
            .iter()
            .map(|asked| format!("{}{}", asked.header("Host").unwrap_or("?"), asked.path))
            .collect()
    }

    /// What `work` made the site be asked for.
    #[track_caller]
    pub fn asked_by(&self, work: impl FnOnce()) -> Vec<String> {
        let before = self.asked().len();
        work();
        self.asked().split_off(before)
    }

    pub fn requests(&self) -> Vec<Asked> {
        self.server.asked()
    }

    /// rkt that trusts another CA than the site's.
    pub fn stranger(&self, scratch: &Scratch) -> Rkt {
        let other = scratch.at("site/other");
        if !other.exists() {
            certificate(&scratch.mkdir("site/other"));
        }
        self.rkt(scratch)
            .env("SSL_CERT_FILE", &other.join("ca.pem").display().to_string())
    }

    /// rkt that trusts this site's CA, with all checks on.
    pub fn rkt(&self, scratch: &Scratch) -> Rkt {
        Rkt::secure(scratch)
            .env("SSL_CERT_FILE", &self.ca())
            .env("SSL_CERT_DIR", "")
            .env("HOME", "/nonexistent")
    }
}

fn place(asked: &Asked) -> String {
    let path = asked.path.split('?').next().unwrap_or_default();
    format!("{}{path}", asked.header("Host").unwrap_or("?"))
}
