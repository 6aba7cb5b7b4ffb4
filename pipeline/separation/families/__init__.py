"""The families of separation networks: each module reads its files and makes a `Network` of them."""
