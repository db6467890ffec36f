"""Versions read from block files of this node: private folders that look like the table, with the endpoint behind them."""
