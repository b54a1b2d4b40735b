// The certificates and the key that are built into a firmware, as PEM: empty, until an application defines its own under
// the same names. They stand for `ca`, `cert` and `key` where a configuration leaves these NULL (see docs/security.md).
// In C because stable Rust cannot define weak symbols.

__attribute__((weak)) const char mqtt_client_tls_ca[] = "";
__attribute__((weak)) const char mqtt_client_tls_cert[] = "";
__attribute__((weak)) const char mqtt_client_tls_key[] = "";
