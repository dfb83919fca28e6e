//! Nor has one that is reached by two ways.

use scores::files::FilesScore;
use scores::topology::Failover;
use scores::{Registry, Topology};

struct Lamp;

impl Topology for Lamp {
    fn name(&self) -> &str {
        "lamp"
    }
}

fn main() {
    let _registry = Registry::<Failover<Lamp>>::new().with::<FilesScore>();
}
