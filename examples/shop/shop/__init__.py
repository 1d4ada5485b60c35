"""A small multi-tenant web shop: stores, their products, and the orders people place."""
