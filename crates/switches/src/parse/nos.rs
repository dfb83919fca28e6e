//! What Network OS prints.

mod chassis;
mod config;
mod tables;

use scores::switch::{Media, Port};

pub use chassis::{Chassis, chassis, inventory};
pub use config::configuration;
pub(super) use config::numbers;
pub use tables::{addresses, fabric, interfaces, lags, neighbours, version};

/// `TenGigabitEthernet` and `1/0/5`, or `Te` and `1/0/5`, or `Po` and `10`.
pub(super) fn port(media: &str, numbers: &str) -> Result<Port, String> {
    let bad = || format!("`{} {}` is no port", media.escape_default(), numbers.escape_default());
    let media = match media.to_ascii_lowercase().as_str() {
        "gi" | "gigabitethernet" => Media::Gigabit,
        "te" | "tengigabitethernet" => Media::TenGigabit,
        "fo" | "fortygigabitethernet" => Media::FortyGigabit,
        "hu" | "hundredgigabitethernet" => Media::HundredGigabit,
        "po" | "port-channel" => Media::Channel,
        _ => return Err(bad()),
    };
    let plain: Port = numbers.parse().map_err(|_| bad())?;
    if plain.media() != Media::Plain {
        return Err(bad());
    }
    Port::new(media, plain.numbers()).ok_or_else(bad)
}

/// `interface` and this name a port: `TenGigabitEthernet 1/0/5`.
pub(crate) fn port_text(port: Port) -> String {
    let media = match port.media() {
        Media::Gigabit => "GigabitEthernet",
        Media::TenGigabit | Media::Plain => "TenGigabitEthernet",
        Media::FortyGigabit => "FortyGigabitEthernet",
        Media::HundredGigabit => "HundredGigabitEthernet",
        Media::Channel => "Port-channel",
    };
    let numbers: Vec<String> = port.numbers().iter().map(u16::to_string).collect();
    format!("{media} {}", numbers.join("/"))
}
