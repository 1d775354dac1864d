{# Synapses without delay: Brian 2's statements for every spike of this step, without its queue. #}
{% extends 'common_synapses.cpp' %}
{% block maincode %}
    {# USES_VARIABLES { _synaptic_pre, _synaptic_post } #}
    {% set source = pathway.source %}
    const int32_t* const _spikes = _array_{{source.name}}_{{pathway.eventspace_name}};
    static const service::Rows _rows({{_dynamic__synaptic_pre}}, {{_dynamic__synaptic_post}}, {{source.N}});
    // scalar code
    const size_t _vectorisation_idx = -1;
    {{scalar_code|autoindent}}
    {% set once, each = parted(vector_code, _synaptic_pre, _synaptic_post) %}
    for (int _spike = 0; _spike < _spikes[{{source.N}}]; _spike++) {
        {{once|autoindent}}
        for (const service::Rows::Run& _run : _rows.of[_spikes[_spike]])
            for (int _k = 0; _k < _run.size; _k++) {
                const size_t _idx = _run.first + _k;
                const size_t _vectorisation_idx = _idx;
                {{each|autoindent}}
            }
    }
{% endblock %}
