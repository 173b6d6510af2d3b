"""A fuzzer over the decoders' front door: damaged and lying files through the real child of `prepare`.

python -m tests.fuzz --minutes N --seed S
"""
