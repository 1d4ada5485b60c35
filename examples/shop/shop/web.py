"""The shop over HTTP: JSON, and one page for people."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from shop import forms, schema
from shop.config import Release
from shop.database import Database
from shop.errors import Busy, ShopError
from shop.model import Customer, Line, Order, Product, Store, is_test, order_number, total

log = logging.getLogger("shop")


def create_app(
    database: Database,
    release: Release,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Flask:
    """The WSGI application."""
    app = Flask("shop")
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    app.json.sort_keys = False  # type: ignore[attr-defined]
    _add_pages(app, database, release)
    _add_stores(app, database)
    _add_orders(app, database, now)
    _add_answers(app, release)
    return app


def _add_pages(app: Flask, database: Database, release: Release) -> None:
    served = False

    @app.get("/")
    def index() -> str:
        stores = [store for store in database.stores() if not is_test(store.id)]
        return render_template(
            "index.html",
            stores=stores,
            products=sum(store.products for store in stores),
            release=release,
            version=schema.VERSION,
        )

    @app.get("/healthz")
    def healthz() -> Any:
        # Once the tables have been read, a hiccup of the database must not make the load
        # balancer replace every instance at once: from then on, being alive is healthy.
        nonlocal served
        if not served:
            database.ping()
            served = True
        return {"status": "ok"}

    @app.get("/__release")
    def show_release() -> Any:
        return {**asdict(release), "schema": schema.VERSION}


def _add_stores(app: Flask, database: Database) -> None:
    @app.get("/stores")
    def stores() -> Any:
        return {"stores": [s for s in database.stores() if not is_test(s.id)]}

    @app.post("/stores")
    def add_store() -> Any:
        form = forms.body(request.get_json())
        store = Store(
            id=forms.identifier(form.get("id"), "id"),
            name=forms.text(form, "name"),
            email=forms.email(form),
            phone=forms.text(form, "phone", ""),
            address=forms.address(form),
            currency=forms.text(form, "currency", "EUR", 3),
            description=forms.text(form, "description", "", 2000),
        )
        if database.add_store(store):
            return jsonify(store), 201
        return jsonify(database.store(store.id))

    @app.get("/stores/<store_id>")
    def store(store_id: str) -> Any:
        return jsonify(database.store(store_id))

    @app.get("/stores/<store_id>/products")
    def products(store_id: str) -> Any:
        limit = forms.limit(request.args.get("limit"), 100, 1000)
        database.store(store_id)
        return {"products": database.products(store_id, limit)}

    @app.post("/stores/<store_id>/products")
    def add_product(store_id: str) -> Any:
        form = forms.body(request.get_json())
        product = Product(
            id=forms.identifier(form.get("id"), "id"),
            title=forms.text(form, "title"),
            price=forms.price(form),
            description=forms.text(form, "description", "", 2000),
        )
        database.store(store_id)
        if database.add_product(store_id, product):
            return jsonify(product), 201
        return jsonify(database.product(store_id, product.id))

    @app.get("/stores/<store_id>/products/<product_id>")
    def product(store_id: str, product_id: str) -> Any:
        return jsonify(database.product(store_id, product_id))

    @app.put("/stores/<store_id>/products/<product_id>/price")
    def set_price(store_id: str, product_id: str) -> Any:
        price = forms.price(forms.body(request.get_json()))
        database.set_price(store_id, product_id, price)
        return jsonify(database.product(store_id, product_id))


def _add_orders(app: Flask, database: Database, now: Callable[[], datetime]) -> None:
    @app.get("/stores/<store_id>/orders")
    def orders(store_id: str) -> Any:
        limit = forms.limit(request.args.get("limit"), 20, 200)
        database.store(store_id)
        return {"orders": database.orders(store_id, limit)}

    @app.post("/stores/<store_id>/orders")
    def place(store_id: str) -> Any:
        form = forms.body(request.get_json())
        order_id = forms.identifier(form.get("id"), "id")
        customer = forms.body(form.get("customer"), "customer")
        wanted = forms.lines(form)
        note = forms.text(form, "note", "", 1000)
        buyer = Customer(
            forms.text(customer, "name"), forms.email(customer), forms.address(customer)
        )
        store = database.store(store_id)
        lines = tuple(
            Line(product.id, product.title, quantity, product.price)
            for product, quantity in (
                (database.product(store_id, product_id), quantity)
                for product_id, quantity in wanted.items()
            )
        )
        order = Order(
            id=order_id,
            number=order_number(store_id, order_id),
            placed_at=now().isoformat(timespec="seconds"),
            status="placed",
            customer=buyer,
            currency=store.currency,
            total=total(lines),
            lines=lines,
            note=note,
        )
        order, created = database.place(store_id, order)
        return jsonify(order), 201 if created else 200

    @app.get("/stores/<store_id>/orders/<order_id>")
    def order(store_id: str, order_id: str) -> Any:
        return jsonify(database.order(store_id, order_id))

    @app.put("/stores/<store_id>/orders/<order_id>/status")
    def set_status(store_id: str, order_id: str) -> Any:
        database.set_status(store_id, order_id, forms.status(forms.body(request.get_json())))
        return jsonify(database.order(store_id, order_id))

    @app.delete("/stores/<store_id>/orders/<order_id>")
    @app.post("/stores/<store_id>/orders/<order_id>/cancel")
    def cancel(store_id: str, order_id: str) -> Any:
        database.cancel(store_id, order_id)
        return {"cancelled": order_id}


def _add_answers(app: Flask, release: Release) -> None:
    @app.errorhandler(ShopError)
    def failed(error: ShopError) -> Any:
        if isinstance(error, Busy) and error.__cause__ is not None:
            log.warning("%s: %s", error, error.__cause__)
        headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
        return {"error": str(error)}, error.status, headers

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Any:
        return {"error": error.description or error.name}, error.code or 500

    @app.after_request
    def stamp(response: Response) -> Response:
        response.headers["X-Release"] = release.release
        if request.method != "GET" or response.status_code >= 500:
            line = {"method": request.method, "path": request.path, "status": response.status_code}
            log.info(json.dumps(line))
        return response
