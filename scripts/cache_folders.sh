#!/bin/sh
# The folders that models are fetched into, separated by commas: all that the server may write to.
cache=${XDG_CACHE_HOME:-$HOME/.cache}
hub=${HF_HOME:-$cache/huggingface}
echo "$cache/hearth,$hub,${HF_HUB_CACHE:-$hub/hub}"
