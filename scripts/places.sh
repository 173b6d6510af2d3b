# Sourced by the scripts that work with a home of their own: where the models are.

# MEDIAFLOW_MODELS, or .models of this clone where it is there, or the folder that mediaflow itself uses, so that the
# models are fetched once.
models_folder() {
    if [[ -n ${MEDIAFLOW_MODELS:-} ]]; then
        echo "$MEDIAFLOW_MODELS"
    elif [[ -d .models ]]; then
        echo "$PWD/.models"
    else
        echo "${MEDIAFLOW_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/mediaflow}/models"
    fi
}
