"""Fetches this process's X509-SVID with py-spiffe and says what came, as one JSON line."""

import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import WorkloadApiClient
from spiffe.errors import PySpiffeError

socket, folder = sys.argv[1], Path(sys.argv[2])
with WorkloadApiClient(f"unix:{socket}") as client:
    svid = client.fetch_x509_svid()
    svid.save(folder / "svid.pem", folder / "key.pem", Encoding.PEM)
    bundles = client.fetch_x509_bundles()
    bundle = bundles.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    bundle.save(folder / "bundle.pem", Encoding.PEM)
    try:
        client.fetch_jwt_svid(audience={"x"})
        jwt = "answered"
    except PySpiffeError as error:
        jwt = str(error)
print(json.dumps({
    "spiffe_id": str(svid.spiffe_id),
    "chain": len(svid.cert_chain),
    "not_after": svid.leaf.not_valid_after_utc.isoformat(),
    "authorities": len(bundle.x509_authorities),
    "jwt": jwt,
}))
