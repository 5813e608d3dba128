"""Random values of the formats, each valid by construction."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from blindfold import Binding, Bundle, Delegation, KeyDocument, PolicyDocument
from blindfold._primitives import ed25519_public_key
from blindfold.envelope import MAX_CONTENT_TYPE, MAX_NAME, Header, Metadata, PolicyLock
from blindfold.exponent import policy_binding_value
from blindfold.predicates import ACTIONS, DAYS, RULE_COMBINING, TRANSFORMERS
from blindfold.seen import Seen

ids = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
numbers = st.integers(1, (1 << 32) - 1)
uids = st.binary(min_size=16, max_size=16)
digests = st.binary(min_size=32, max_size=32)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC))

_visible = st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"])
names = st.text(_visible, max_size=120).filter(lambda name: len(name.encode()) <= MAX_NAME)
content_types = st.one_of(
    st.just(""),
    st.from_regex(r"[!-~]{1,40}/[ -~]{1,80}", fullmatch=True).filter(lambda t: len(t) <= MAX_CONTENT_TYPE),
)
metadata = st.builds(
    Metadata,
    name=names,
    content_type=content_types,
    created=st.none() | st.integers(0, (1 << 63) - 1),
    padded=st.booleans(),
)


@st.composite
def locks(draw: st.DrawFn) -> PolicyLock:
    tenant, binding = draw(ids), draw(st.sampled_from(Binding))
    if binding is Binding.REVISION:
        value = draw(digests)
    else:
        name = f"tenants/{tenant}/namespaces/{draw(ids)}/secretPolicies/{draw(ids)}"
        value = policy_binding_value(name, draw(uids))
    element = draw(st.binary(min_size=64, max_size=512))
    return PolicyLock(tenant, draw(numbers), binding, value, draw(digests), element)


headers = st.builds(Header, locks(), metadata)

key_documents = st.builds(KeyDocument, ids, numbers, st.integers(1 << 15, (1 << 4096) - 1))

_lists = st.lists(texts, min_size=1, max_size=3)
_transformers = st.lists(st.sampled_from(TRANSFORMERS), min_size=1, max_size=3)
_rules = st.fixed_dictionaries(
    {"name": texts, "action": st.sampled_from(ACTIONS)},
    optional={
        "description": texts,
        "client_name": texts,
        "client_name_matcher": st.fixed_dictionaries(
            {"exact_values": _lists}, optional={"regex_values": _lists, "transformers": _transformers}
        ),
        "client_selector": st.fixed_dictionaries({"expressions": _lists}),
        "label_matcher": st.fixed_dictionaries({"keys": _lists}),
        "roles": _lists,
        "ip_prefixes": _lists,
        "ip_prefixes_except": _lists,
        "time_window": st.fixed_dictionaries(
            {"not_before": texts}, optional={"days": st.lists(st.sampled_from(DAYS), min_size=1, max_size=7)}
        ),
    },
)
policy_documents = st.builds(
    PolicyDocument,
    tenant=ids,
    namespace=ids,
    name=ids,
    uid=uids,
    revision=numbers,
    nonce=uids,
    binding=st.sampled_from(Binding),
    rule_combining=st.sampled_from(RULE_COMBINING),
    rules=st.lists(_rules, max_size=4).map(tuple),
    labels=st.dictionaries(texts, texts, max_size=4),
    description=texts,
    decrypt_cache_timeout_seconds=st.integers(0, (1 << 53) - 1),
)


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    """Signed as they should be, by a root and a signer of their own."""
    document: KeyDocument | PolicyDocument = draw(key_documents | policy_documents)
    root, signer, start = draw(digests), draw(digests), draw(moments)
    delegation = Delegation.sign(
        root,
        type_=document.TYPE,
        tenant=document.tenant,
        key=ed25519_public_key(signer),
        not_before=start,
        not_after=start + timedelta(days=90),
    )
    end = start + timedelta(days=draw(st.integers(1, 90)))
    return Bundle.sign(signer, document, delegation, issued_at=start, not_after=end)


_entries = st.dictionaries(texts, st.tuples(numbers, texts), max_size=4)
seen = st.builds(Seen, _entries, _entries, st.dictionaries(texts, texts, max_size=4))


@st.composite
def mutations(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds after some edits of the sort that damage and malice make."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 16)))
        piece = draw(st.binary(max_size=8) | st.just(data[start:end] * 2) | st.just(b""))
        data = data[:start] + piece + data[end:]
    return data
