"""An open email operation for political and advocacy teams."""
