//! Which cryptography TLS connections use.

use std::sync::Once;

/// Makes ring the provider of all TLS connections of the process. Certificates
/// are those of the system; proxies are those of the environment.
pub(crate) fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only if somebody installed another one, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
