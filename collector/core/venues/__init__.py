"""Markets of exchanges other than Binance: what they send, turned into the same rows."""
