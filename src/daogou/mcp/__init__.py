"""The engine as tools for agents (Model Context Protocol), over standard input and output or over HTTP. It reads a project and writes nothing to it.

answers   what the tools answer, short enough for a model to read
tools     the five tools
follow    takes over what the process that writes changes in the catalogue
gate      who may ask over HTTP
run       starts it
"""
