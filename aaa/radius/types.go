package radius

import (
	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2867"
	"layeh.com/radius/rfc2868"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"
)

// The attributes in use, by the names of their RFCs.
const (
	typeUserName          = rfc2865.UserName_Type
	typeUserPassword      = rfc2865.UserPassword_Type
	typeCHAPPassword      = rfc2865.CHAPPassword_Type
	typeCHAPChallenge     = rfc2865.CHAPChallenge_Type
	typeNASIPAddress      = rfc2865.NASIPAddress_Type
	typeNASPort           = rfc2865.NASPort_Type
	typeNASPortType       = rfc2865.NASPortType_Type
	typeNASIdentifier     = rfc2865.NASIdentifier_Type
	typeServiceType       = rfc2865.ServiceType_Type
	typeFramedProtocol    = rfc2865.FramedProtocol_Type
	typeFramedIPAddress   = rfc2865.FramedIPAddress_Type
	typeFramedMTU         = rfc2865.FramedMTU_Type
	typeFramedRoute       = rfc2865.FramedRoute_Type
	typeClass             = rfc2865.Class_Type
	typeState             = rfc2865.State_Type
	typeVendorSpecific    = rfc2865.VendorSpecific_Type
	typeSessionTimeout    = rfc2865.SessionTimeout_Type
	typeIdleTimeout       = rfc2865.IdleTimeout_Type
	typeReplyMessage      = rfc2865.ReplyMessage_Type
	typeCalledStationID   = rfc2865.CalledStationID_Type
	typeCallingStationID  = rfc2865.CallingStationID_Type
	typeProxyState        = rfc2865.ProxyState_Type
	typeAcctStatusType    = rfc2866.AcctStatusType_Type
	typeAcctDelayTime     = rfc2866.AcctDelayTime_Type
	typeAcctInputOctets   = rfc2866.AcctInputOctets_Type
	typeAcctOutputOctets  = rfc2866.AcctOutputOctets_Type
	typeAcctSessionID     = rfc2866.AcctSessionID_Type
	typeAcctAuthentic     = rfc2866.AcctAuthentic_Type
	typeAcctSessionTime   = rfc2866.AcctSessionTime_Type
	typeAcctInputPackets  = rfc2866.AcctInputPackets_Type
	typeAcctOutputPackets = rfc2866.AcctOutputPackets_Type
	typeAcctTerminate     = rfc2866.AcctTerminateCause_Type
	typeTunnelConnection  = rfc2867.AcctTunnelConnection_Type

	typeTunnelType           = rfc2868.TunnelType_Type
	typeTunnelMedium         = rfc2868.TunnelMediumType_Type
	typeTunnelClientEndpoint = rfc2868.TunnelClientEndpoint_Type
	typeTunnelServerEndpoint = rfc2868.TunnelServerEndpoint_Type
	typeTunnelAssignmentID   = rfc2868.TunnelAssignmentID_Type
	typeTunnelClientAuthID   = rfc2868.TunnelClientAuthID_Type
	typeTunnelServerAuthID   = rfc2868.TunnelServerAuthID_Type
	typeTunnelPrivateGroup   = rfc2868.TunnelPrivateGroupID_Type

	typeAcctInputGigawords   = rfc2869.AcctInputGigawords_Type
	typeAcctOutputGigawords  = rfc2869.AcctOutputGigawords_Type
	typeEventTimestamp       = rfc2869.EventTimestamp_Type
	typeConnectInfo          = rfc2869.ConnectInfo_Type
	typeEAPMessage           = rfc2869.EAPMessage_Type
	typeMessageAuthenticator = rfc2869.MessageAuthenticator_Type
	typeAcctInterimInterval  = rfc2869.AcctInterimInterval_Type
	typeNASPortID            = rfc2869.NASPortID_Type
	typeFramedPool           = rfc2869.FramedPool_Type
	typeNASIPv6Address       = rfc3162.NASIPv6Address_Type

	// typeErrorCause is that of RFC 5176 section 3.5.
	typeErrorCause radius.Type = 101
)

// Values of enumerated attributes.
const (
	serviceFramed       = 2 // RFC 2865 section 5.6
	serviceAuthorize    = 17
	protocolPPP         = 1 // section 5.7
	portVirtual         = 5 // section 5.41
	authenticRADIUS     = 1 // RFC 2866 section 5.6
	tunnelL2TP          = 3 // RFC 2868 section 3.1
	mediumIPv4          = 1 // section 3.2
	mediumIPv6          = 2
	addressUserSelects  = 0xffffffff // RFC 2865 section 5.8
	addressNASSelects   = 0xfffffffe
	minInterimInterval  = 60 // RFC 2869 section 5.16
	maxPasswordLen      = 128
	chapResponseLen     = 16
	mschapResponseLen   = 49 // RFC 2759 section 4
	mschapChallengeLen  = 16
	mschap2ResponseSize = 50 // RFC 2548 section 2.3.2
)

// Vendors, and those of their attributes that are understood.
const (
	vendorCisco     = 9
	vendorMicrosoft = 311 // RFC 2548
	vendorAscend    = 529
	vendorHuawei    = 2011
	vendorRedback   = 2352
	vendorDSLForum  = 3561 // RFC 4679
	vendorERX       = 4874 // Juniper, formerly Unisphere
	vendorNokia     = 6527

	msCHAPError     = 2
	msCHAPChallenge = 11
	msCHAP2Response = 25
	msCHAP2Success  = 26
)
