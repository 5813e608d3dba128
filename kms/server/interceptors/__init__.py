"""What every call passes before its servicer, in this order: size, parse, TLS version, caller, rate."""
