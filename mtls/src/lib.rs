//! Mutual TLS with X509-SVIDs: material, verifiers, and the peer as a proof.
