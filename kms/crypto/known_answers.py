"""Fixed inputs and answers of the start-up self-test, with their sources. Nothing here is secret."""

import base64
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GcmAnswer:
    """AES-GCM from NIST's CAVP, `gcmEncryptExtIV128.rsp` and `256`: 20 bytes of AAD, count 0."""

    algorithm: str
    key: bytes
    nonce: bytes
    plaintext: bytes
    aad: bytes
    ciphertext: bytes
    tag: bytes


def _gcm(algorithm: str, *fields: str) -> GcmAnswer:
    return GcmAnswer(algorithm, *map(bytes.fromhex, fields))


GCM = (
    _gcm(
        "AES_256_GCM",
        "83688deb4af8007f9b713b47cfa6c73e35ea7a3aa4ecdb414dded03bf7a0fd3a",
        "0b459724904e010a46901cf3",
        "33d893a2114ce06fc15d55e454cf90c3",
        "794a14ccd178c8ebfd1379dc704c5e208f9d8424",
        "cc66bee423e3fcd4c0865715e9586696",
        "0fb291bd3dba94a1dfd8b286cfb97ac5",
    ),
    _gcm(
        "AES_128_GCM",
        "d4a22488f8dd1d5c6c19a7d6ca17964c",
        "f3d5837f22ac1a0425e0d1d5",
        "7b43016a16896497fb457be6d2a54122",
        "f1c5d424b83f96c6ad8cb28ca0d20e475e023b5a",
        "c2bd67eef5e95cac27e3b06e3031d0a8",
        "f23eacf9d1cdf8737726c58648826e9c",
    ),
)

# RFC 4231, section 4.2 (test case 1).
HMAC_KEY = b"\x0b" * 20
HMAC_MESSAGE = b"Hi There"
HMAC_ANSWER = bytes.fromhex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")

# RFC 5649, section 6.
KWP_KEY = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
KWP_PLAINTEXT = bytes.fromhex("c37b7e6492584340bed12207808941155068f738")
KWP_ANSWER = bytes.fromhex("138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a")

# RFC 3720, appendix B.4: 32 bytes of zero.
CRC32C_INPUT = bytes(32)
CRC32C_ANSWER = 0x8A9136AA

# An RSA key of 2048 bits; a ciphertext and a signature that RFC 8017's formulas gave for it, with SHA-256.
RSA_MESSAGE = b"known answer"
OAEP_LABEL = b"self-test"
RSA_PKCS8 = base64.b64decode(
    "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDoiWsyVon9hn65gjQRL2/IWfhaCLSZKNQISg2uGQ8oZojo"
    "3kHUqpldBGyXCm81+CZxSjoIBoq5sq3/7u7DU9VSj63WWWQo5/3cSdCltEiGTvZOnfI5WftN5DO0Yy4AU4uyjnxw+VcOVZ3X"
    "n5g1UgumpGQOjvMbSOQUt0j95wwG/4qfZKbc3fZhhDg0asAle39muijhJXJFvtYt2Dq+AtcVqh/ogII/84cw5n53tSr4RpST"
    "AoNBaGVM4iHsk91yBe18etdP/plHw0ze3hCEco0FtkFJ651HS18WxAATBmd5NQetrdiNy7npFwWNPXRn3YeUxs8brFXnwOgw"
    "WlX+5NZnAgMBAAECggEBANAX6a4qc2JFsbIhKqcWZFpO6Ujo8XT+bIDehE+AbWgiGfMKsq613Hi5NNQVqmAJqZ1IZ5Y3BH4Z"
    "wEyAbXqu0wAHQ/HGHTPeJ/eytt0S8LQAhbrk7ZcVRyb1SK/s8YWpPiKUEBipiZZyV8ZWM8fDnFmMU14T3spT+IfxXYiZ8tFu"
    "uNaHy8TGuAAu4+vm2yLfpiwHqFPoyegDIxjt/hf3DUsa5qj67UZMuneXHF7qm1dOil259VbKYfU4ZlksbArPe74pVLEq4z2M"
    "Iq0+6Pbr8f4czuuxyiaM0kmhkW4SByfSEM0UgMCAK8CLUoTIdKB/5DoiDG76G307s/yBmJKBt0ECgYEA9OKEix9e6n8JVll6"
    "45tIFVvmec4BtXb4pSb6YD3T/NvM/mGoXdo4uCj810ZTy1F4IbprZid7lyjr+Bct2ITLWK69eEQWunLTAlU/Zmmcb+7OmJD3"
    "CYQShuN/nko3YNoernAcBaEj/qtCnF1Kk4ALb6lvAGBVfCsvadKNHRiJ9J0CgYEA8xdrtZQj0GKtSgKPK/DapHuPC/JqHHxO"
    "Oh+M6ao9SVUrqKamUZQqM2ha/J3G8lfPCPMKegVJ1FK1nYRw/xA9CDC3YzDsSTtT0BD/nFsRcGZsZ1mD7xzDDhbBYgfKJi5k"
    "/HYVEEHkMdPQ5863yZMelT00FybdbBcM05IfZvoBTdMCgYBg623t6gKU6KZ3aH68qm6DFZZISwJeIbITGzQo9w95mjytyVTr"
    "oDymloJLaWgsphfXsYJkMeg2UVnjHLlmYlhgxvfyK3CbZmqhF8A59j6WBnv54hYDzCPRAyU1LsZwLKPMAk7042vtlTaN0FZ9"
    "vkXIcdSe34G13Rms1kpHY7jl+QKBgQDalarCgcyaasCLljWLO24/DOOZyIblyljFJu2chvnI4Q76/a78GBDCXQnDsVPdQlvm"
    "HjTDd9HlW+H3G8pHcCCRJs0gIjO1veUlaMOPosvRmCfN3s4lymUSXB/TuFFrd7hS0xMppTY+H8rvRhA471NGutwGHWpo8WkV"
    "LYWTISbfBQKBgDUFQk51omeRYFSQW296bkclvb7TTy+KjUm+ZgEOF3J4b8xaon8AXzkkP/91eN+aid+P3484EqAKCSStFBB/"
    "CcVgKAgUKz+G6/AMKsaFoM40VohM+UhXgh2GctTY1H6cwEIP2OCVdhnhW/DQyPAFEViPr9WIP6yNNw+E3Pu6FGga"
)
OAEP_CIPHERTEXT = bytes.fromhex(
    "9211abcaee1effb030a8b0703bd39440d87ebfc78f2a6a7ba646f1c9cede957c11d0c3937acea46ea4c9923fad3a2511"
    "95676d8dd8718b304e349c48f80e16a29cc1306ffd2f68964bee6af4cd870cf41e00f3e7fff9fc0e233541b3e4cefc56"
    "ab554217ffe19347d6deb292daf0b2f69f33f4633d6d0ef1d5e8b15c945cd51352be027899020b52569b7755defdb73c"
    "b52aa3ace72a9566bfcc24fc3df7219c66f2447ed22c6c858271023780b675af23d8aea0aeb8da6a78b1e9116cbc7da3"
    "9109dc7d1f68afd0b744ef19b1e726c7930249d3d11bcd6d5a8f3b6c96a582ff3732c956b8ff5cfc492b4c7e544d9f55"
    "c63aec332f631985922e4dd5f8417f55"
)
PSS_SIGNATURE = bytes.fromhex(
    "30a7eed7889cfdbef8f865c073602e47882d60284d00e654dd1eb52fd401b188ec689d82587d87de6199727e4e3c0906"
    "0d5455dccec9f6a222f75fa24c3aea9569d1add5473eb516a63104dbd4d49e49fd9de6a77372b7f6b959ebe977bdf4ce"
    "332a066c46234ba390e7f00d9bee04783dc5ea8a879bc213f53874ae5e0fd4ee4bc2a7f11f6c77d66058bcb8bd166f9b"
    "2826190b0b983290f69419f0798071cc1ff950373a912aa2fddf4b8b5375e77e13d6e7543e9c8ef9e08abbfd0f2d9539"
    "540ac6860387be675311e8b2f7a91d16949dd083627de61bbab0757f7af392c7af44a5b64f907064b9826bd26f9993c0"
    "1e2999a8aa3659674042ca83aaaa76f3"
)

# Blindfold: case 1 of testvectors/blindfold/evaluate.json.
BLINDFOLD_P = int(
    "f0989c12f829dca492c78a5a771375395d7ea4229a61afc7f2da4202bd2a80aeb6d34ba884c096b9c0f7102effc819bd"
    "c7183c231af4b9b056af37266891f437",
    16,
)
BLINDFOLD_Q = int(
    "e2ad30dcf5809262fc269e23a0ae10247c4dfc9bddf7cade131510ad7dcd82487726e6a030a449d081e49bbee04df68a"
    "8fe4b6afa122608e3da12b763b644b9b",
    16,
)
BLINDFOLD_EXPONENT = int(
    "34a672a6fbfc3e975efb921105c32e1edc6796876ca8a8fc6ca50a706821533303f7d4ff1e7b65576af942ebdc3e26c6"
    "dd3c20909cb5340d16d7916210668b75",
    16,
)
BLINDFOLD_ELEMENT = bytes.fromhex(
    "0cedb06b406cb3cc0fc9e0e58803232e9beb26a772c86a9d08e662f36bf66510f2790a10a8bb3557a3273f175ac16c94"
    "47abde56b63c6437f358179438ccebff20255098a2c442efa7f0c89b2d3c2cb1e424c51563efc552aef1522ef9a5bd93"
    "dd510d57f227fdb917c8d446accfb7dd5d0826ca540bed733249d1ae8dd7abf4"
)
BLINDFOLD_ANSWER = bytes.fromhex(
    "76a80bb4de13e250fdc758f149f3b2a4650da1803f67f1577b44f1cc79e75c1a54f00537db2609a24412846d849e4bae"
    "29b052c03ee558ed5fa62501a5dc19579bb87f145f4c92fee5c850d870ef9f194956d2522d5f83bcfb2339ec27b511c0"
    "00c9a4d14a2467dea73549f6394404ab8f520a6e4d93e04bc7f46220c18404e4"
)
