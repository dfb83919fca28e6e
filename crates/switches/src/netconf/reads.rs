//! What is read from Network OS by NETCONF, page by page where it has more than it says at once.

use super::{BASE, Client, Element};
use crate::parse::netconf::{self, CONFIG, FABRIC, INTERFACES, LAGS, Page, VCS};
use crate::parse::{FabricLink, Interface, LagState, ParseError, Unit, VlanState};
use crate::session::SessionError;

impl Client {
    /// All interfaces that are ports or port channels.
    pub(crate) async fn interfaces(&mut self) -> Result<Vec<Interface>, SessionError> {
        let ask = |after: Option<&(String, String)>| {
            let request = Element::new("get-interface-detail", INTERFACES);
            match after {
                None => request,
                Some((kind, name)) => request.child(
                    Element::new("last-rcvd-interface", INTERFACES)
                        .leaf("interface-type", kind)
                        .leaf("interface-name", name),
                ),
            }
        };
        self.paged(ask, netconf::interfaces, |interface| interface.port).await
    }

    /// All VLANs.
    pub(crate) async fn vlans(&mut self) -> Result<Vec<VlanState>, SessionError> {
        let ask = |after: Option<&u16>| {
            let request = Element::new("get-vlan-brief", INTERFACES);
            match after {
                None => request,
                Some(id) => request.leaf("last-rcvd-vlan-id", &id.to_string()),
            }
        };
        self.paged(ask, netconf::vlans, |vlan| vlan.id).await
    }

    /// All port channels, with what LACP says.
    pub(crate) async fn lags(&mut self) -> Result<Vec<LagState>, SessionError> {
        let ask = |after: Option<&u16>| {
            let request = Element::new("get-port-channel-detail", LAGS);
            match after {
                None => request,
                Some(id) => request.leaf("last-aggregator-id", &id.to_string()),
            }
        };
        self.paged(ask, netconf::lags, |lag| lag.id).await
    }

    /// The links of the fabric, as every member of it tells its own.
    pub(crate) async fn fabric(&mut self) -> Result<Vec<FabricLink>, SessionError> {
        let reply = self.call(Element::new("show-linkinfo", FABRIC)).await?;
        Ok(netconf::fabric(&reply)?)
    }

    /// The switches of the fabric, with models and serial numbers; nothing where there is none, or nothing can be asked.
    pub(crate) async fn nodes(&mut self) -> Result<Vec<Unit>, SessionError> {
        if !self.hello().knows(VCS) {
            return Ok(Vec::new());
        }
        let reply = self.call(Element::new("show-vcs", VCS)).await?;
        Ok(netconf::nodes(&reply)?)
    }

    /// What is configured of ports, port channels and VLANs. Whether that is all of it is not known: what a device has
    /// no model for is in no answer.
    pub(crate) async fn configuration(&mut self) -> Result<scores::switch::Config, SessionError> {
        let filter = Element::new("filter", BASE)
            .attribute("type", "subtree")
            .child(Element::new("interface", CONFIG))
            .child(Element::new("interface-vlan", CONFIG));
        let source = Element::new("source", BASE).child(Element::new("running", BASE));
        let reply = self.call(Element::new("get-config", BASE).child(source).child(filter)).await?;
        Ok(netconf::configuration(&reply)?)
    }

    /// Asks for one page after the other. A list that does not go on, or says something twice, is none.
    async fn paged<T, L: PartialEq, K: Ord>(
        &mut self,
        ask: impl Fn(Option<&L>) -> Element,
        read: impl Fn(&Element) -> Result<Page<T, L>, ParseError>,
        key: impl Fn(&T) -> K,
    ) -> Result<Vec<T>, SessionError> {
        let mut found: Vec<T> = Vec::new();
        let mut keys = std::collections::BTreeSet::new();
        let mut last = None;
        for _ in 0..PAGES_MAX {
            let request = ask(last.as_ref());
            let name = request.name().to_owned();
            let bad = |why: &str| Err(ParseError::whole(&name, why).into());
            let mut page = read(&self.call(request).await?)?;
            if !page.found.iter().all(|one| keys.insert(key(one))) {
                return bad("it lists something twice");
            }
            found.append(&mut page.found);
            if !page.more {
                return Ok(found);
            }
            if page.last.is_none() || page.last == last {
                return bad("it says that there is more, and does not go on");
            }
            last = page.last;
        }
        Err(ParseError::whole("NETCONF", format!("it has more than {PAGES_MAX} pages")).into())
    }
}

/// The most pages of one list: some devices give one entry on each.
const PAGES_MAX: usize = 8192;
