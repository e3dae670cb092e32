"""IO edge: ccxt.pro, REST anchors, capture files."""
