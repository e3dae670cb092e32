"""What people and programs ask of a store: one set of readers behind HTTP, SDK and views."""
