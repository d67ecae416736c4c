#![no_main]

sobaya_fuzz::decoder!("rand-block");
