"""The one page."""

from django.urls import path

from shop.views import approve

urlpatterns = [path("orders/<slug:order>/approve", approve)]
