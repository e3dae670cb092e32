"""An exchange on loopback: REST and websocket of Binance as of 2026, with faults on request."""
