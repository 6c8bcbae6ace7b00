"""The host's side of the serial bridge to microcontrollers.

This room is empty in this version: the rows of microcontrollers stand in lepton_targets and say
"not available"; the protocol, the gateway and the firmware come with their back end.
"""
