#![no_main]

sobaya_fuzz::decoder!("top-k");
