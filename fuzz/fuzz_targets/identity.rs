#![no_main]

sobaya_fuzz::decoder!("identity");
