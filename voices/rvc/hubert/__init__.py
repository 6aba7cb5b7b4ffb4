"""The content encoder of RVC voices: HuBERT base, as ContentVec trained it."""

from understudy.voices.rvc.hubert.encoder import ContentEncoder, load_content_encoder

__all__ = ["ContentEncoder", "load_content_encoder"]
