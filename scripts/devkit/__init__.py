"""What the demo and the development server have in common."""
