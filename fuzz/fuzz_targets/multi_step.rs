#![no_main]

sobaya_fuzz::decoder!("multi-step");
