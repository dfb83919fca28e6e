//! Nor have two.

use scores::files::FilesScore;
use scores::topology::{Each, Redundant};
use scores::{Registry, Topology};

struct Lamp;

impl Topology for Lamp {
    fn name(&self) -> &str {
        "lamp"
    }
}

fn main() {
    let _registry = Registry::<Redundant<Lamp>>::new().with::<Each<FilesScore>>();
}
