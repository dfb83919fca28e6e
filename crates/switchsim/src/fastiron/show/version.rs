//! FastIron: what `show version` prints.

use std::fmt::Write as _;

use crate::device::Device;
use crate::fastiron::render;
use crate::profile::Os;

pub(super) fn version(device: &Device) -> String {
    if let Some(text) = &device.show_version {
        return text.clone();
    }
    if device.os == Os::FastIronOld { old_version(device) } else { new_version(device) }
}

fn old_version(device: &Device) -> String {
    let mut out = String::from("  Copyright (c) 1996-2015 Brocade Communications Systems, Inc. All rights reserved.\n");
    for unit in 1..=device.units {
        let _ = writeln!(out, "    UNIT {unit}: compiled on Jan 28 2016 at 10:12:41 labeled as ICX64S08030h");
        out.push_str("\t\t(7786516 bytes) from Primary ICX64S08030h.bin\n");
        let _ = writeln!(out, "        SW: Version {} ", render::version(device));
    }
    out.push_str(
        "  Boot-Monitor Image size = 786944, Version:10.1.05T310 (kxz10105)\n  HW: Stackable ICX6450-24-HPOE\n",
    );
    out.push_str(RULE);
    for unit in 1..=device.units {
        let _ = writeln!(out, "UNIT {unit}: SL 1: ICX6450-24P POE 24-port Management Module");
        let _ = writeln!(out, "         Serial  #: BZS{}K{unit:02}Q", device.serial);
        let _ = writeln!(out, "         License: BASE_SOFT_PACKAGE   (LID: dbuFJ{unit}HKFFx)");
        out.push_str("         P-ENGINE  0: type DEF0, rev 01\n");
        out.push_str(RULE);
        let _ = writeln!(out, "UNIT {unit}: SL 2: ICX6450-SFP-Plus 4port 40G Module");
        out.push_str(RULE);
    }
    out.push_str("  800 MHz ARM processor ARMv5TE, 400 MHz bus\n65536 KB flash memory\n  512 MB DRAM\n");
    ending(device, &mut out);
    out
}

fn new_version(device: &Device) -> String {
    let mut out = String::from("  Copyright (c) Ruckus Networks, Inc. All rights reserved.\n");
    for unit in 1..=device.units {
        let _ = writeln!(out, "    UNIT {unit}: compiled on Nov 17 2022 at 02:14:29 labeled as SPR08095j");
        out.push_str("      (31457280 bytes) from Primary SPR08095jufi.bin (UFI)\n");
        let _ = writeln!(out, "        SW: Version {} ", render::version(device));
        out.push_str("      Compressed Primary Boot Code size = 786944, Version:10.1.22T225 (mnz10122)\n");
        out.push_str("       Compiled on Fri Jul 22 03:28:05 2022\n\n");
    }
    out.push_str("  HW: Stackable ICX7150-24-POE\n");
    out.push_str(RULE);
    for unit in 1..=device.units {
        let _ = writeln!(out, "UNIT {unit}: SL 1: ICX7150-24P-4X10GR POE 24-port Management Module");
        let _ = writeln!(out, "      Serial  #:FEE{}Q{unit:03}", device.serial);
        out.push_str("      Software Package: ICX7150_L3_SOFT_PACKAGE\n      Current License: 4X10GR\n");
        out.push_str("      P-ASIC  0: type B160, rev 11  Chip BCM56160_B0\n");
        out.push_str(RULE);
        let _ = writeln!(out, "UNIT {unit}: SL 3: ICX7150-4X10GR 4-port 40G Module");
        out.push_str(RULE);
    }
    out.push_str(
        " 1000 MHz ARM processor ARMv7 88 MHz bus\n 8 MB boot flash memory\n 2 GB code flash memory\n 1 GB DRAM\n",
    );
    ending(device, &mut out);
    out.push_str("\nMy stack unit ID = 1, bootup role = active\n");
    out
}

fn ending(device: &Device, out: &mut String) {
    for unit in 1..=device.units {
        let days = 40 + unit;
        let _ = writeln!(out, "STACKID {unit}  system uptime is {days} day(s) 2 hour(s) 3 minute(s) 4 second(s)");
    }
    out.push_str("The system started at 09:41:51 GMT+00 Sat Nov 01 2025\n\n");
    let indent = if device.os == Os::FastIronOld { " " } else { "" };
    let _ = writeln!(out, "{indent}The system : started=warm start   reloaded=by \"reload\"");
}

/// Between the parts of `show version`.
const RULE: &str = "==========================================================================\n";
