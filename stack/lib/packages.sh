# shellcheck shell=bash
install_all() { need_java; need_jars; }
