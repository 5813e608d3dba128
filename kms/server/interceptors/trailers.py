"""What the end of every call tells besides its status: the request id, and where its event stands."""

from kms.server.call import Metadata, call_if_any
from kms.server.interceptors.request_id import REQUEST_ID_KEY

RECEIPT_KEY = "x-audit-receipt"


def trailers(request_id: str) -> Metadata:
    """For the call that this task serves. Without an event that is its own there is no receipt."""
    call = call_if_any()
    receipts = call.receipts if call is not None else ()
    return ((REQUEST_ID_KEY, request_id), *((RECEIPT_KEY, str(receipt)) for receipt in receipts))
