"""File, function and class names beyond ASCII, in every width that a string can have."""


def größe():
    return bytes(2_000_000)


def 名前():
    return bytes(3_000_000)


class Ünï:
    def 方法(self):
        return bytes(4_000_000)


def 𝒻𝓊𝓃():
    return bytes(5_000_000)


kept = [größe(), 名前(), Ünï().方法(), 𝒻𝓊𝓃()]
print("naïve 名前 🐍")
