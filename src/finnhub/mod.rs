//! The feed: Finnhub's messages, its websocket, and a simulator that speaks its wire format.
