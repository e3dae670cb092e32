"""What a store holds, put to the question: chains, epochs, books. Reads through the storage interface alone."""
