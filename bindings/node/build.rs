//! What a module of Node is linked with.

fn main() {
    napi_build::setup();
    // A worker thread that ends unloads what it loaded, while threads of the client may still run in it.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
