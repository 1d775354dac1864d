{# Nothing waits. #}
{% extends 'common_group.cpp' %}
