//! cellwall-proxy: the sidecar.
