"""What a caller installs after enrolling or renewing, as a message."""

from kms.identity.issued import CertificateBundle
from kms.server.convert import timestamp
from protos.kms.v1 import identity_pb2 as pb


def certificate_message(bundle: CertificateBundle) -> pb.CertificateBundle:
    """The certificate, its chain and the roots."""
    return pb.CertificateBundle(
        identity=bundle.identity,
        certificate_chain_pem=bundle.chain_pem.decode("ascii"),
        trust_bundle_pem=bundle.trust_bundle_pem.decode("ascii"),
        not_after=timestamp(bundle.issued.not_after),
    )
