"""`make bench`: what the hop costs, as ratios to the null hop of the same run.

The null hop (`null_hop`) is a bare grpcio server and client that pass bytes undecoded: the floor for any hop in Python.
Load generator, hop and counting sink are processes of their own. Machines are shared and drift, so the ratios count.
"""
