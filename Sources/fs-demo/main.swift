import Laboratory
print("x")
