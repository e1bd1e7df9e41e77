"""As small as Django lets them be. The three at the end are ours."""

import os

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "only-for-this-example")
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
INSTALLED_APPS = ["shop"]
ROOT_URLCONF = "shop.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3")}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

APPROVALS_BROKER = os.environ.get("SHOP_BROKER", "amqp://guest:guest@127.0.0.1:5672//")
APPROVALS_NAMESPACE = os.environ.get("SHOP_NAMESPACE", "approvals")
APPROVALS_ACCOUNT = "finance"
